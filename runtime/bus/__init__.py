"""The event bus: tells handlers of what happened, after the commit, at least once, each at its own pace."""
