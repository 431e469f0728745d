"""The special tokens by their HF names: `bos_token`, `bos_token_id`, and so on."""

from __future__ import annotations

import tokenizers

from runtime.bundle.manifest import TokenizerSpec


class SpecialTokens:
    """HF's special-token attributes (`PreTrainedTokenizerBase`), read from the manifest. Absent tokens are None."""

    def __init__(self, backend: tokenizers.Tokenizer, spec: TokenizerSpec) -> None:
        self._backend = backend
        self.spec = spec

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """Attribute name -> token, including model-specific ones such as `image_token`."""
        return dict(self.spec.special_tokens)

    @property
    def all_special_tokens(self) -> list[str]:
        """Named and extra special tokens, each once."""
        return list(dict.fromkeys([*self.spec.special_tokens.values(), *self.spec.extra_special_tokens]))

    @property
    def all_special_ids(self) -> list[int | None]:
        """Ids of `all_special_tokens`, in that order."""
        return [self._token_id(token) for token in self.all_special_tokens]

    @property
    def bos_token(self) -> str | None:
        return self._named("bos_token")

    @property
    def bos_token_id(self) -> int | None:
        return self._named_id("bos_token")

    @property
    def eos_token(self) -> str | None:
        return self._named("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._named_id("eos_token")

    @property
    def unk_token(self) -> str | None:
        return self._named("unk_token")

    @property
    def unk_token_id(self) -> int | None:
        return self._named_id("unk_token")

    @property
    def sep_token(self) -> str | None:
        return self._named("sep_token")

    @property
    def sep_token_id(self) -> int | None:
        return self._named_id("sep_token")

    @property
    def cls_token(self) -> str | None:
        return self._named("cls_token")

    @property
    def cls_token_id(self) -> int | None:
        return self._named_id("cls_token")

    @property
    def mask_token(self) -> str | None:
        return self._named("mask_token")

    @property
    def mask_token_id(self) -> int | None:
        return self._named_id("mask_token")

    @property
    def pad_token(self) -> str | None:
        return self._named("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        """The manifest's id: what padding uses, also where a checkpoint names no pad token."""
        return self.spec.pad_token_id

    def _named(self, name: str) -> str | None:
        return self.spec.special_tokens.get(name)

    def _named_id(self, name: str) -> int | None:
        token = self._named(name)
        return None if token is None else self._token_id(token)

    def _token_id(self, token: str) -> int | None:
        """Id of a token, the unknown token's id for anything else."""
        found = self._backend.token_to_id(token)
        return self._backend.token_to_id(self.unk_token) if found is None and self.unk_token is not None else found
