"""Measurements that anybody can repeat: `make bench`. Each prints one JSON line; figures are medians and ratios.

Absolute figures belong to the machine they were taken on. What travels is the ratio to the raw limit: the same rows,
written in the same run by bare asyncpg, with nothing around it.
"""
