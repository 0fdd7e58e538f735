"""Keep answers open: the entropy of every cell, which is to stay above `least` nats.

In the folder of this file (or with it on PYTHONPATH):

    python -m latent_rl.train "loss.terms={'own_loss:OpenLoss': {weight: 0.1, least: 0.5}}"
"""

from dataclasses import dataclass

from tensordict import TensorDict

from latent_rl.agents import RecursionLoss


class OpenLoss(RecursionLoss):
    @dataclass
    class _AcceptedKeys:
        logits: str = "logits"

    default_keys = _AcceptedKeys
    out_keys = ["loss_open"]

    def __init__(self, *, least: float = 0.5):
        super().__init__()
        self.least = least

    @property
    def in_keys(self):
        return [self.tensor_keys.logits]

    def forward(self, tensordict):
        log_p = self.read(tensordict, "logits").log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1)
        return TensorDict({"loss_open": (self.least - entropy).clamp(min=0).mean()}, batch_size=[])
