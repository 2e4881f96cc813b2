"""One file per mount. What is not GraphQL calls a service directly."""
