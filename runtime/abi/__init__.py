"""Sockets that others may fill: the contracts of connectors and of the context a step runs in.

Pure.
"""
