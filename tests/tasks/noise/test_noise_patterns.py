"""Parameters are chosen by name: everything, less what only turns images into embeddings."""

import json

import pytest

from thickets.storage.errors import InputError
from thickets.storage.fingerprint import fingerprint
from thickets.tasks.noise import NOISE_VERSION, Perturbation
from thickets.tasks.noise.patterns import VISION_PATTERNS


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.language_model.layers.3.mlp.up_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ],
)
def test_language_parameters_are_perturbed_by_default(name):
    assert Perturbation().selects(name)


@pytest.mark.parametrize(
    "name",
    [
        "visual.blocks.0.attn.qkv.weight",  # Qwen2-VL as saved
        "model.visual.merger.mlp.0.weight",  # Qwen2.5-VL as loaded
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",  # LLaVA
        "model.vision_tower.encoder.layers.0.mlp.fc1.weight",
        "model.vision_model.embeddings.patch_embedding.weight",  # SmolVLM
        "vision_encoder.layers.0.weight",
        "model.image_encoder.patch_embed.weight",
        "model.vision_embed_tokens.img_processor.weight",  # Phi-3-vision
        "multi_modal_projector.linear_1.weight",
        "model.mm_projector.0.weight",
        "image_tower.encoder.layers.0.mlp.fc1.weight",  # Video-LLaVA
        "model.video_tower.encoder.layers.0.mlp.fc1.weight",
    ],
)
def test_vision_parameters_are_not_perturbed_by_default(name):
    assert not Perturbation().selects(name)
    assert Perturbation(exclude=()).selects(name)


def test_towers_found_later_follow_the_list_and_are_in_no_fingerprint():
    tower = "model.image_tower.post_layernorm.weight"
    assert Perturbation(exclude=VISION_PATTERNS[1:]).selects(tower)
    assert not Perturbation(exclude=(*VISION_PATTERNS, "lm_head.*")).selects(tower)
    assert Perturbation().identity()["exclude"] == sorted(VISION_PATTERNS)


def test_include_narrows_and_exclude_wins():
    chosen = Perturbation(include=("*.mlp.*", "*.self_attn.*"), exclude=("*.layers.0.*",))
    assert chosen.selects("model.layers.1.mlp.up_proj.weight")
    assert not chosen.selects("model.layers.0.mlp.up_proj.weight")
    assert not chosen.selects("model.norm.weight")


def test_patterns_are_case_sensitive():
    assert not Perturbation(include=("MODEL.*",)).selects("model.norm.weight")


def test_identity_is_json_and_knows_order_and_repeats_change_nothing():
    identity = Perturbation(include=("b*", "a*", "a*"), exclude=()).identity()
    assert identity == {
        "noise_version": NOISE_VERSION,
        "family": "gaussian",
        "include": ["a*", "b*"],
        "exclude": [],
    }
    assert json.loads(json.dumps(identity)) == identity


def test_identity_differs_wherever_the_noise_would():
    variants = [
        Perturbation(),
        Perturbation(family="rademacher"),
        Perturbation(include=("a*",)),
        Perturbation(exclude=()),
    ]
    assert len({json.dumps(variant.identity(), sort_keys=True) for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "cauchy"}, "family is 'cauchy'"),
        ({"include": ()}, "nothing would be perturbed"),
        ({"include": "*"}, "include is '\\*'"),
        ({"exclude": ["visual.*"]}, "exclude is"),
        ({"exclude": ("",)}, "exclude is"),
    ],
)
def test_bad_choices_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Perturbation(**options)


def test_the_first_match_decides_the_factor_and_zero_leaves_alone():
    scale = Perturbation(scale=(("model.norm.*", 2.0), ("*norm*", 0.0), ("*mlp*", 0.5)))
    assert scale.factor("model.norm.weight") == 2
    assert scale.factor("model.layers.0.mlp.up_proj.weight") == 0.5
    assert scale.factor("lm_head.weight") == 1
    assert scale.selects("model.norm.weight")
    assert not scale.selects("model.layers.0.input_layernorm.weight")


def test_without_a_scale_that_changes_anything_the_identity_is_as_it_was():
    for scale in ((), (("*", 1.0),), (("*norm*", 1), ("*", 1.0), ("lm_head*", 3.0))):
        assert Perturbation(scale=scale).identity() == Perturbation().identity()
    # As runs had it before there were scales; their ids and shards hang on it.
    stored = "0672b7a565d9e9e5698b54b3792feb7d5d89dfe43f0a28da12e36f87cbfdd1d3"
    assert fingerprint(Perturbation().identity()) == stored


def test_scales_that_are_equal_in_effect_have_one_identity():
    def identity(*scale, **options):
        return json.dumps(Perturbation(scale=scale, **options).identity(), sort_keys=True)

    a, b, c = ("a*", 0.5), ("b*", 0.5), ("c*", 2.0)
    assert identity(a, b, c) == identity(b, a, c) == identity(a, b, c, ("d*", 1.0)) == identity(a, b, c, ("a*", 7.0))
    assert identity(a, c) != identity(c, a)
    assert identity(("*norm*", 1.0), a) != identity(a)
    # What the first of all leaves alone is left out; a later zero may be matched by an earlier factor.
    assert identity(("x*", 0.0), a) == identity(a, exclude=(*VISION_PATTERNS, "x*"))
    assert identity(a, ("x*", 0.0)) != identity(("x*", 0.0), a)
    assert len({identity(a), identity(b), identity(c), identity()}) == 4
    # With the whole list of vision towers go further ones, which no factors speak of.
    assert identity(*((pattern, 0.0) for pattern in VISION_PATTERNS), exclude=()) != identity()


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"a*": 1.0}, "scale is"),
        ((["a*", 1.0],), "scale is"),
        ((("", 1.0),), "non-empty"),
        ((("a*", -1.0),), r"scale\['a\*'\] is -1.0"),
        ((("a*", float("inf")),), "finite"),
        ((("a*", float("nan")),), "finite"),
    ],
)
def test_bad_factors_are_named(scale, message):
    with pytest.raises(InputError, match=message):
        Perturbation(scale=scale)
