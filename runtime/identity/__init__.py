"""Who is calling: verified tokens become Principals. The development issuer lives here too."""
