"""The compiled executor: document -> plan -> answer, with Strawberry's own executor as the exact fallback.

A room of its own that knows no noun of this house: another Strawberry project can take the folder as it is
(docs/compiled-executor.md). `Plans` is the door; `record_field` and `later` are for those who declare types.
"""
