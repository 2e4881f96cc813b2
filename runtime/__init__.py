"""The engine: everything that makes an execution durable. It knows nothing of GraphQL or HTTP requests."""
