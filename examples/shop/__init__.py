"""A small shop (stock, payment, shipping, mail) that fails on purpose and counts what it did.

It is an outside judge: its own process, its own SQLite file, and not one import from the engine.
`calls` counts the requests that arrived, `effects` counts what really changed, so a reader can
see that retries happened and that nothing happened twice. Start it with `python -m examples.shop`.
"""
