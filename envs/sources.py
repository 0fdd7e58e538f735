"""Where instances come from: the public CSV schema, and generated sets cached on disk."""
