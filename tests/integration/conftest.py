from tests.rig_fixtures import module_triton_rig, rig_environment, triton_rig

__all__ = ["module_triton_rig", "rig_environment", "triton_rig"]
