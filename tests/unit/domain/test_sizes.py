import pytest

from controlplane.domain.sizes import memory_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (2**20, "1 MiB"),
        (512 * 2**20, "512 MiB"),
        (1023 * 2**20, "1023 MiB"),
        (24 * 2**30, "24 GiB"),
        (1_500_000_000, "1.397 GiB"),
        (3 * 2**40, "3 TiB"),
        (2**52, "4096 TiB"),
    ],
)
def test_memory_is_told_in_the_largest_unit_of_which_it_is_one(size_bytes: int, text: str) -> None:
    assert memory_text(size_bytes) == text
