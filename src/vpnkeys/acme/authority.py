"""Orders a certificate from an authority, with certbot's `acme` library."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import requests
from acme import challenges, client, errors, messages
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from vpnkeys import __version__
from vpnkeys.acme.answers import AlpnAnswers, Answers
from vpnkeys.acme.errors import IssuanceFailed

_ANSWER_S = 30
_ORDER_S = 120.0
_NONCE_TRIES = 8
_BAD_NONCE = "badNonce"

# What may be said to anybody of an authority's refusal (RFC 8555, 6.7); its own words may name this server.
_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "caa": "a CAA record of the name forbids this authority",
        "connection": "the authority cannot connect to this server",
        "dns": "the authority cannot look the name up",
        "incorrectResponse": "another server answers at the name",
        "rateLimited": "the authority has had too many requests of this server",
        "rejectedIdentifier": "the authority issues nothing for this name",
        "tls": "the authority cannot connect to this server",
        "unauthorized": "another server answers at the name",
    }
)
_REFUSED, _SILENT = "the authority refuses", "the authority does not answer"


@challenges.ChallengeResponse.register
class _AlpnResponse(challenges.KeyAuthorizationChallengeResponse):
    """Says that a check by TLS can begin (RFC 8737)."""

    typ = AlpnAnswers.kind


@challenges.Challenge.register
class _AlpnChallenge(challenges.KeyAuthorizationChallenge):
    """A check by TLS (RFC 8737), which the library does not know."""

    response_cls = _AlpnResponse
    typ = AlpnAnswers.kind

    def validation(self, account_key: JWK, **_: Any) -> str:  # noqa: ANN401 - the library's own
        """Return the key authorization."""
        return self.key_authorization(account_key)


class _Network(client.ClientNetwork):
    """Sends requests. One with a nonce that the authority does not take is sent again (RFC 8555, 6.5)."""

    def post(self, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401 - the library's own
        """Send a signed request. The library tries twice, which is too few where many nonces are refused."""
        for _ in range(_NONCE_TRIES):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != _BAD_NONCE:
                    raise
        return super().post(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority, by the URL of its directory, and our account there.

    `ca_file` has the authorities that vouch for it; None: those that are trusted everywhere.
    """

    directory: str
    ca_file: str | None
    account_key: ec.EllipticCurvePrivateKey

    def issue(self, csr: bytes, profile: str, answers: Answers) -> bytes:
        """Return a new certificate with its chain, in PEM. `profile` is asked for where the authority has profiles.

        Raises IssuanceFailed.
        """
        with _translated():
            session = self._session()
            self._open_account(session)
            known = getattr(getattr(session.directory, "meta", None), "profiles", None) or {}
            order = session.new_order(csr, profile=profile if profile in known else None)
            with ExitStack() as stack:
                for authorization in order.authorizations:
                    self._answer(session, authorization, answers, stack)
                # The library compares it with the local time.
                deadline = datetime.now() + timedelta(seconds=_ORDER_S)  # noqa: DTZ005
                return session.poll_and_finalize(order, deadline).fullchain_pem.encode("ascii")

    def renewal_time(self, certificate: bytes) -> datetime | None:
        """Return when the authority wants the certificate to be renewed (RFC 9773), in UTC; None when it has no wish.

        It is a random moment of a window, so that not all servers come at once. Raises IssuanceFailed.
        """
        with _translated():
            at, _ = self._session().renewal_time(certificate)
        return None if at is None else at.astimezone(UTC).replace(tzinfo=None)

    def _session(self) -> client.ClientV2:
        network = _Network(
            JWKEC(key=self.account_key),
            alg=ES256,
            verify_ssl=self.ca_file or True,  # type: ignore[arg-type]  # requests takes a path too
            user_agent=f"vpnkeys/{__version__}",
            timeout=_ANSWER_S,
        )
        return client.ClientV2(client.ClientV2.get_directory(self.directory, network), network)

    def _open_account(self, session: client.ClientV2) -> None:
        """Make the account of our key, or find it: an authority that has lost it, or never had it, makes it anew."""
        try:
            session.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True))
        except errors.ConflictError as found:
            session.net.account = messages.RegistrationResource(body=messages.Registration(), uri=found.location)

    def _answer(
        self,
        session: client.ClientV2,
        authorization: messages.AuthorizationResource,
        answers: Answers,
        stack: ExitStack,
    ) -> None:
        body = authorization.body
        if body.status == messages.STATUS_VALID:
            return  # it was checked for an order before
        offered = {challenge.chall.typ: challenge for challenge in body.challenges}
        challenge = offered.get(answers.kind)
        if challenge is None:
            msg = f"the authority offers no {answers.kind} for {body.identifier.value}, only {', '.join(offered)}"
            raise IssuanceFailed(msg, _REFUSED)
        key = JWKEC(key=self.account_key)
        authorized = challenge.chall.key_authorization(key)
        stack.enter_context(answers.given(body.identifier.value, challenge.chall.encode("token"), authorized))
        session.answer_challenge(challenge, challenge.chall.response(key))


@contextmanager
def _translated() -> Iterator[None]:
    """Raise IssuanceFailed for what the library raises."""
    try:
        yield
    except errors.ValidationError as error:
        problems = [one.error for failed in error.failed_authzrs for one in failed.body.challenges if one.error]
        raise IssuanceFailed(f"the authority's check failed: {_said(problems)}", _reason(problems)) from error
    except errors.IssuanceError as error:
        raise IssuanceFailed(f"the authority issued nothing: {error.error}", _reason([error.error])) from error
    except messages.Error as error:
        raise IssuanceFailed(f"the authority refused: {error}", _reason([error])) from error
    except errors.TimeoutError as error:
        raise IssuanceFailed(f"the authority did not issue within {_ORDER_S:.0f} s", _SILENT) from error
    except requests.RequestException as error:
        raise IssuanceFailed(f"the authority does not answer: {error}", _SILENT) from error
    except (errors.Error, JoseError, ValueError, KeyError, AttributeError) as error:
        # What is no ACME server gives answers that the library trips over in many ways.
        raise IssuanceFailed(f"the authority gave an answer that is none: {error!r}", _SILENT) from error


def _said(problems: list[messages.Error]) -> str:
    return "; ".join(str(problem.detail or problem.typ) for problem in problems) or "it did not say why"


def _reason(problems: list[messages.Error]) -> str:
    return next((_REASONS[code] for problem in problems if (code := problem.code or "") in _REASONS), _REFUSED)
