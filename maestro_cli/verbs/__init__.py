"""One file per verb or noun; each is imported only when its verb is used."""
