"""The root fields, and the schema assembled from them."""
