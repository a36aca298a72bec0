"""The scenario file: what loads, what is refused and how that is said."""
