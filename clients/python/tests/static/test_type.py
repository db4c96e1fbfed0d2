"""The types of answers are those of the agent: compared with its description of itself, in the file HEADROOM_OPENAPI. They need not
have all that it says."""

from __future__ import annotations

import json
import os
import unittest
from typing import Any, Dict, Set

from headroom_guard import answer, host

_LISTS = {"alerts", "filesystems", "gpus", "reasons", "unavailable", "workloads"}
#: What the agent always writes, although its description does not call it required: it reads answers of older agents, too.
ALWAYS: Dict[str, Set[str]] = {"Status": _LISTS, "Report": _LISTS, "VerdictLine": {"short"}}
#: Types under another name there, and those that are not described.
NAMES = {"WorkloadLine": "Line", "LeaseProcess": "", "LeaseCgroup": "", "LevelChange": ""}


class Types(unittest.TestCase):
    def test_fields_are_those_of_the_agent(self) -> None:
        path = os.environ.get("HEADROOM_OPENAPI")
        if path is None:
            self.skipTest("HEADROOM_OPENAPI names no file")
        with open(path, encoding="utf-8") as file:
            schemas = json.load(file)["components"]["schemas"]
        compared = 0
        for module in (answer, host):
            for name, kind in vars(module).items():
                if not isinstance(kind, type) or kind.__module__ != module.__name__ or name.startswith("_"):
                    continue
                schema = NAMES.get(name, name)
                if schema:
                    self.compare(name, kind, schemas[schema], schemas)
                    compared += 1
        self.assertGreater(compared, 20)

    def compare(self, name: str, kind: Any, schema: Dict[str, Any], schemas: Dict[str, Any]) -> None:
        known, always = fields(schema, schemas)
        required, optional = set(kind.__required_keys__), set(kind.__optional_keys__)
        self.assertEqual((required | optional) - known, set(), f"{name} has fields that the agent does not know")
        self.assertEqual(required - always - ALWAYS.get(name, set()), set(), f"{name}: the agent may leave these out")


def fields(schema: Dict[str, Any], schemas: Dict[str, Any]) -> "tuple[Set[str], Set[str]]":
    """All, and those that are always there."""
    if "$ref" in schema:
        return fields(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    known, always = set(schema.get("properties", {})), set(schema.get("required", []))
    for part in schema.get("allOf", []):
        more, sure = fields(part, schemas)
        known, always = known | more, always | sure
    variants = [fields(part, schemas) for part in schema.get("oneOf", [])]
    for more, _ in variants:
        known |= more
    if variants:
        always |= set.intersection(*(sure for _, sure in variants))
    return known, always


if __name__ == "__main__":
    unittest.main()
