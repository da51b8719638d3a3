"""What is served beside EST, from a configuration: the admin API and the health."""
