"""The engine as a pytest plugin: fixtures for other people's tests. Light until one is asked for."""
