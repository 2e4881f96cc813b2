"""The nouns and values of the product: pure, frozen, standard library only.

Every other room may import this one.
"""
