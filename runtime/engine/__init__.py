"""The pure core: what happened goes in, what to do comes out. No clock, no I/O, no chance, no await."""
