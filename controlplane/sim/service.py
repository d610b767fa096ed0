"""What a simulated replica is able to do: how long its work takes and how long it takes to start.

Linear in what is executed together, as the measured tables are. Fits with their sources are in `LLM_SERVICES` and
`BATCH_SERVICES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class LlmService:
    """One vLLM-like replica, by the time of an iteration.

    An iteration gives every decoding request its next token and takes up to `max_batched_tokens` in all, what decoding
    leaves going to prompts (chunked prefill). It lasts `itl_base_s + itl_per_running_s * decoding`, where any decode,
    plus `max(prefill_floor_s, prefill_base_s + prefill_per_token_s * tokens)`, where any prompt tokens are in it.
    `prefill_base_s` may be below zero (a fit over long prompts): the floor is what the shortest prompts take.
    `kv_tokens`: tokens that the KV cache holds. `max_num_seqs`: requests in one iteration. `gpus`: by replica.
    """

    itl_base_s: float
    itl_per_running_s: float
    prefill_base_s: float
    prefill_per_token_s: float
    kv_tokens: int
    prefill_floor_s: float = 0.0
    max_num_seqs: int = 256
    max_batched_tokens: int = 8192
    gpus: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError where a request could never end, or time would stand still or run backwards."""
        if not (self.itl_base_s > 0 and self.itl_per_running_s >= 0):
            raise ValueError(
                f"an iteration of {self.itl_base_s} s + {self.itl_per_running_s} s by request; at least > 0 s and 0 s"
            )
        if self.prefill_per_token_s < 0 or self.prefill_floor_s < 0:
            raise ValueError(
                f"prefill of {self.prefill_per_token_s} s by token, at least {self.prefill_floor_s} s; both at least 0"
            )
        if self.max_num_seqs < 1 or self.kv_tokens < 1 or self.gpus < 1:
            raise ValueError(
                f"max_num_seqs {self.max_num_seqs}, kv_tokens {self.kv_tokens}, gpus {self.gpus}; each at least 1"
            )
        if self.max_batched_tokens <= self.max_num_seqs:
            raise ValueError(
                f"max_batched_tokens {self.max_batched_tokens} leave prompts no room beside {self.max_num_seqs} decodes"
            )


@dataclass(frozen=True, slots=True)
class BatchService:
    """One model on a Triton-like server: an instance executes a batch of b requests in `fixed_s + per_item_s * b`.

    For `gpu_serial_share` of that time (its last part) the batch has the GPU to itself: instances of one server share a
    GPU and wait for each other there, which counts as compute time. `max_batch` 1 is a model without batching.
    `preferred_sizes`, `max_queue_delay_s` and `max_queue` (requests; 0: no limit) as in Triton's `dynamic_batching`;
    without preferred sizes Triton prefers `max_batch`. `rate_limited`: the server runs with
    `--rate-limit=execution_count`, which changes how batches form. `gpus`: by server.
    """

    fixed_s: float
    per_item_s: float
    max_batch: int = 1
    max_queue_delay_s: float = 0.0
    preferred_sizes: tuple[int, ...] = ()
    max_queue: int = 0
    instances: int = 1
    gpu_serial_share: float = 0.0
    rate_limited: bool = False
    gpus: int = 1

    def __post_init__(self) -> None:
        """Raises ValueError where a batch takes no time, or sizes, counts or the share are none."""
        if not (self.fixed_s >= 0 and self.per_item_s >= 0 and self.fixed_s + self.per_item_s > 0):
            raise ValueError(
                f"a batch of {self.fixed_s} s + {self.per_item_s} s by request; both at least 0, one above"
            )
        if self.max_batch < 1 or self.instances < 1 or self.gpus < 1:
            raise ValueError(
                f"max_batch {self.max_batch}, instances {self.instances}, gpus {self.gpus}; each at least 1"
            )
        if any(not 1 <= size <= self.max_batch for size in self.preferred_sizes):
            raise ValueError(f"preferred sizes {self.preferred_sizes}; each from 1 to max_batch, {self.max_batch}")
        if self.max_queue_delay_s < 0 or self.max_queue < 0 or not 0 <= self.gpu_serial_share <= 1:
            raise ValueError(
                f"max_queue_delay_s {self.max_queue_delay_s} and max_queue {self.max_queue} are at least 0,"
                f" gpu_serial_share {self.gpu_serial_share} is from 0 to 1"
            )


@dataclass(frozen=True, slots=True)
class StartUp:
    """How long replicas take from being asked for (and billed) to taking traffic: lognormal.

    `sd_share`: standard deviation as a share of the mean. `failing`: probability that one never becomes ready.
    """

    mean_s: float
    sd_share: float = 0.15
    failing: float = 0.0

    def draw_s(self, rng: np.random.Generator) -> float:
        """Seconds of the next start-up, inf where it never becomes ready. Takes two numbers from `rng` every time."""
        fails = rng.random() < self.failing
        variance = math.log1p(self.sd_share**2)
        took_s = self.mean_s * math.exp(math.sqrt(variance) * rng.standard_normal() - variance / 2)
        return math.inf if fails else took_s


def kv_tokens_left(gpu_bytes: float, weights_bytes: float, bytes_per_token: float) -> int:
    """Tokens that fit into what weights leave of vLLM's default share of GPU memory (gpu_memory_utilization 0.9).

    Activations are not counted: some per cent of what is left, where a real vLLM measures them at its start.
    """
    return int((0.9 * gpu_bytes - weights_bytes) / bytes_per_token)


# Fits of measured times, 16 bit, TP over GPUs of 80 GB; ITL over batches at prompts of 512 tokens, prefill over prompts
# at batch 1. Floors are the least median prompt time measured (at 128 or 256 tokens); below some 500 tokens the line
# is under it. A prompt in chunks pays base by chunk, where it is below zero too little: 14 ms by further chunk of Llama
# 3.1 8B, TP 2. ITL knows the batch only; measured there at batch 1: 3 % more at prompts of 4,096 tokens, twice as long
# at 8,192. Llama 3.1 8B: 8.03e9 parameters, KV 2 * 32 layers * 8 heads * 128 * 2 bytes = 128 KiB by token.
# Llama 2 70B: 69e9 parameters, KV 2 * 80 layers * 8 heads * 128 * 2 bytes = 320 KiB by token.
# Sources: SageServe (arXiv 2502.14617), data/Llama-3.1-8B-tp-*.csv, MIT; Splitwise (ISCA'24), perf_model.csv, MIT.
LLM_SERVICES: dict[str, LlmService] = {
    "llama-3.1-8b-a100-tp2": LlmService(
        itl_base_s=0.00828,
        itl_per_running_s=0.000244,
        prefill_base_s=-0.0135,
        prefill_per_token_s=0.0000666,
        prefill_floor_s=0.0227,
        kv_tokens=kv_tokens_left(2 * 80e9, 16.06e9, 128 * 1024),
        gpus=2,
    ),
    "llama-3.1-8b-a100-tp4": LlmService(
        itl_base_s=0.00654,
        itl_per_running_s=0.000425,
        prefill_base_s=-0.0061,
        prefill_per_token_s=0.0000830,
        prefill_floor_s=0.0287,
        kv_tokens=kv_tokens_left(4 * 80e9, 16.06e9, 128 * 1024),
        gpus=4,
    ),
    "llama-2-70b-a100-tp8": LlmService(
        itl_base_s=0.04347,
        itl_per_running_s=0.000413,
        prefill_base_s=-0.0190,
        prefill_per_token_s=0.0001845,
        prefill_floor_s=0.0654,
        kv_tokens=kv_tokens_left(8 * 80e9, 138e9, 320 * 1024),
        gpus=8,
    ),
    "llama-2-70b-h100-tp8": LlmService(
        itl_base_s=0.02967,
        itl_per_running_s=0.000312,
        prefill_base_s=-0.0022,
        prefill_per_token_s=0.0001002,
        prefill_floor_s=0.0517,
        kv_tokens=kv_tokens_left(8 * 80e9, 138e9, 320 * 1024),
        gpus=8,
    ),
}

# Lines through published offline tables of one client that sends whole batches of 1 to 16 requests: one instance, FP16,
# sequences of 384 tokens. What the way to the server takes is contained in them.
# Source: NVIDIA DeepLearningExamples, PyTorch/LanguageModeling/BERT/triton/large, T4, Apache License 2.0.
BATCH_SERVICES: dict[str, BatchService] = {
    "bert-large-t4-onnx": BatchService(fixed_s=0.00384, per_item_s=0.021874, max_batch=16),
    "bert-large-t4-pytorch": BatchService(fixed_s=0.00281, per_item_s=0.018266, max_batch=16),
    "bert-large-t4-tensorrt": BatchService(fixed_s=0.00258, per_item_s=0.013691, max_batch=16),
}
