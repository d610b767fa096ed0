from pathlib import Path

from controlplane.demo.models_repo import MODELS, write_repository


def test_each_model_has_its_configuration_filled_in(tmp_path: Path) -> None:
    write_repository(tmp_path / "models", tmp_path / "gpu", time_scale=0.5, gpu_serial_share=0.7)

    for name in MODELS:
        config = (tmp_path / "models" / name / "config.pbtxt").read_text()
        assert f'name: "{name}"' in config
        assert "$" not in config
        assert 'string_value: "0.5"' in config
        assert 'string_value: "0.7"' in config
        assert str(tmp_path / "gpu") in config
        assert (tmp_path / "models" / name / "1" / "__pycache__").is_file()
        compile((tmp_path / "models" / name / "1" / "model.py").read_text(), "model.py", "exec")


def test_the_pycache_file_can_be_left_out(tmp_path: Path) -> None:
    write_repository(tmp_path, tmp_path / "gpu", MODELS[:1], with_pycache_file=False)

    assert sorted(path.name for path in (tmp_path / MODELS[0] / "1").iterdir()) == ["model.py"]
    assert [path.name for path in tmp_path.iterdir()] == [MODELS[0]]
