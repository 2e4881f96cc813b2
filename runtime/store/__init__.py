"""PostgreSQL, the truth: every SQL statement of the product is in here.

Static statements stand in `sql/<noun>.sql`, migrations in `migrations/`; lists with free filters
are composed over `tables.py`. Services and workers call the classes of `<noun>.py`; foreign
exceptions are translated at this border.
"""
