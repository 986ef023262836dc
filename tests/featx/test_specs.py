"""Specs: frozen, one canonical JSON, and differences that are named."""

from __future__ import annotations

import hashlib

import pytest
from pydantic import ValidationError

from featx._specs import differences, require_equal, spec_error
from featx.errors import InputError, SpecMismatchError
from featx.images import AugmentationSpec


class TestSpec:
    def test_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError):
            AugmentationSpec().copies = 2  # type: ignore[misc]

    def test_unknown_fields_are_refused(self) -> None:
        with pytest.raises(ValidationError, match="colour"):
            AugmentationSpec(colour=0.2)  # type: ignore[call-arg]

    def test_canonical_json_is_sorted_without_white_space(self) -> None:
        # Written down: a changed text would make every cache of today a stranger.
        assert AugmentationSpec(copies=2, zoom=0).canonical_json() == (
            '{"copies":2,"height_shift":0.1,"horizontal_flip":true,"rotation":30.0,"seed":0,'
            '"width_shift":0.1,"zoom":0.0}'
        )

    def test_fingerprint_is_the_sha256_of_the_canonical_json(self) -> None:
        spec = AugmentationSpec(seed=5)
        assert spec.fingerprint == hashlib.sha256(spec.canonical_json().encode()).hexdigest()
        assert spec.fingerprint == AugmentationSpec(seed=5, copies=4).fingerprint
        assert spec.fingerprint != AugmentationSpec(seed=6).fingerprint

    def test_reads_back_from_its_json(self) -> None:
        spec = AugmentationSpec(rotation=12.5, horizontal_flip=False)
        assert AugmentationSpec.model_validate_json(spec.canonical_json()) == spec


class TestDifferences:
    def test_are_named_with_both_values_through_nested_specs(self) -> None:
        one = {"backbone": {"name": "vgg16", "size": 300}, "seed": 0}
        other = {"backbone": {"name": "vgg19", "size": 300}, "dtype": "float16", "seed": 0}
        assert differences(one, other) == [
            "backbone.name: vgg16 -> vgg19",
            "dtype: absent -> float16",
        ]

    def test_equal_specs_have_none(self) -> None:
        spec = {"a": {"b": [1, 2]}, "c": None}
        assert differences(spec, dict(spec)) == []
        require_equal("the cache differs", spec, dict(spec), "Use another.")

    def test_require_equal_names_them_and_says_what_to_do(self) -> None:
        with pytest.raises(
            SpecMismatchError, match=r"^the cache differs \(a: 1 -> 2; b: 3 -> absent\)\. Use an"
        ):
            require_equal("the cache differs", {"a": 1, "b": 3}, {"a": 2}, "Use another.")


class TestSpecError:
    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("copies", -1, "`copies` can't be -1: .*greater than or equal to 0"),
            ("zoom", 1.0, "`zoom` can't be 1.0: .*less than 1"),
            ("width_shift", 2.5, "`width_shift` can't be 2.5"),
            ("rotation", float("nan"), "`rotation` can't be nan"),
            ("seed", -3, "`seed` can't be -3"),
        ],
    )
    def test_names_the_option_and_quotes_the_value(
        self, field: str, value: float, message: str
    ) -> None:
        with pytest.raises(ValidationError) as caught:
            AugmentationSpec.model_validate({field: value})
        error = spec_error(caught.value)
        assert isinstance(error, InputError)
        assert error.exit_code == 2
        with pytest.raises(InputError, match=message):
            raise error
