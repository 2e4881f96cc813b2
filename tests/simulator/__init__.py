"""The simulator: the real core and worker in a world of chance that a seed decides. See docs/simulator.md."""
