"""Steps of a small warehouse: two functions and a connector; and an event handler."""
