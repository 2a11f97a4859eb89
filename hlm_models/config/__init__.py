"""YAML to frozen typed settings, and the registry of model files.

Nothing is imported here: `located` and `registry` stay cheap, `load`, `schema` and `settings` need
pydantic.
"""
