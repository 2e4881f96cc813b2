"""What tests share: real servers, real processes, and patience with both."""
