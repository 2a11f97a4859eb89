"""The JSON schema of a model file, for editors and other programs."""

import json

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from hlm_models.config.settings import SCHEMA_VERSION, ModelConfig

__all__ = ["SCHEMA_FILE", "json_schema", "schema_text"]

SCHEMA_FILE = f"schema-{SCHEMA_VERSION}.json"


def json_schema() -> dict[str, object]:
    """JSON schema of a model file, draft 2020-12."""
    head = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": SCHEMA_FILE,
        "title": f"hlm_models model file, schema {SCHEMA_VERSION}",
    }
    return head | ModelConfig.model_json_schema(by_alias=True, schema_generator=_Generator) | head


def schema_text() -> str:
    """JSON schema as the text of its file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """Without titles that repeat the key, and with the `kind` of a part required."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002
        return False

    def generate(
        self, schema: CoreSchema, mode: JsonSchemaMode = "validation"
    ) -> dict[str, object]:
        document = super().generate(schema, mode)
        for part in document["$defs"].values():
            if "kind" in part["properties"]:
                part["required"] = list(dict.fromkeys(["kind", *part.get("required", [])]))
        return document
