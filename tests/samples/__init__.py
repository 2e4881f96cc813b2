"""Public samples of other systems, in a folder of the caller's: none of them is kept here."""
