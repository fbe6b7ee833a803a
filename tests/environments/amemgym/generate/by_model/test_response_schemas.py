"""Forms of answers constrain decoding and tidy names."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from memagent.environments.amemgym.generate.by_model import response_schemas


def test_every_form_can_constrain_decoding() -> None:
    forms = [one for name, one in vars(response_schemas).items() if name.endswith("Answer")]
    assert len(forms) == 14
    for form in forms:
        assert "propertyNames" not in json.dumps(form.model_json_schema())
        with pytest.raises(ValidationError):
            form.model_validate({})
    with pytest.raises(ValidationError, match="is no name"):
        response_schemas.StateAnswer.model_validate({"state": {"?!": "low"}})
    assert response_schemas.StateAnswer.model_validate({"state": {"Commute Mode": " by  bus "}}).state == {
        "commute_mode": "by bus"
    }
