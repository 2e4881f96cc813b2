"""The face: HTTP, WebSocket and the GraphQL types. It knows requests and the graph, not tables."""
