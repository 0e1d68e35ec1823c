"""The service against its own OpenAPI document, by schemathesis: no server error, no surprise.

tools/test.sh -m slow tests/serve/test_schema.py
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.serve.running import serving, tiny_model

pytest.importorskip("schemathesis")
pytestmark = pytest.mark.slow

# What the document cannot say: that random bytes are no picture, so "valid" bodies are refused too.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
MORE = ",unsupported_method,missing_required_header"


@pytest.mark.parametrize("token", [False, True], ids=["open", "with token"])
def test_schemathesis_finds_nothing(tmp_path, token):
    environment = {"EDGEAILITE_TOKEN": "correct horse"} if token else {}
    headers = ["--header", "Authorization: Bearer correct horse"] if token else []
    with serving(tmp_path, tiny_model(tmp_path / "tiny.onnx"), environment=environment) as running:
        address = f"http://127.0.0.1:{running.port}/openapi.json"
        code = "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"
        words = ["run", address, "--checks", CHECKS + MORE, "--max-examples", "40", "--seed", "1", *headers]
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=400, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "Traceback" not in running.log.read_text()
        assert running.metric('edgeailite_problems_total{error="internal"}') == 0
    print(done.stdout[-2500:])
