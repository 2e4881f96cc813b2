"""Use cases: authorise, decide, one transaction, return a record.

Called by resolvers and other faces. A service writes intent; workers carry it out. What it needs it
gets from the bootstrap, and it knows no request.
"""
