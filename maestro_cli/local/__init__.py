"""The engine's processes as this CLI starts them: services, API, worker, scheduler; they end in reverse order."""
