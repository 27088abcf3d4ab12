"""Connect's OAuth: authorize, token, deauthorize (docs.stripe.com/connect/oauth-reference)."""

from dataclasses import dataclass
from urllib.parse import urlencode

from simulator.events import EventLog
from simulator.shapes import Json
from simulator.world import Account, World

CODE_LIVES = 300


class OAuthError(Exception):
    """An answer of the shape `{"error": …, "error_description": …}`."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body: Json = {"error": error, "error_description": description}


@dataclass(slots=True)
class Code:
    """An authorization code: single use, for five simulated minutes."""

    account: str
    scope: str
    at: int
    used: bool = False


class OAuth:
    """The grants of the platform's application."""

    def __init__(self, world: World, events: EventLog, client_id: str, secret_key: str) -> None:
        self._world = world
        self._events = events
        self._client_id = client_id
        self._secret_key = secret_key
        self._codes: dict[str, Code] = {}
        self._refresh: dict[str, str] = {}
        self.tokens: dict[str, str] = {}

    def authorize(self, query: dict[str, str]) -> str:
        """The address to send the browser back to; every merchant says yes unless `sim_deny=1`.

        `sim_account` names the account; otherwise it is the next one that is not connected yet.
        """
        if query.get("client_id") != self._client_id:
            raise OAuthError(400, "invalid_client", "No application matches the supplied client identifier")
        if query.get("response_type") != "code":
            raise OAuthError(400, "unsupported_response_type", "response_type must be code")
        if not query.get("redirect_uri"):
            raise OAuthError(400, "invalid_request", "No redirect URI provided")
        answer = {"state": query["state"]} if "state" in query else {}
        if query.get("sim_deny") == "1":
            answer["error"] = "access_denied"
            answer["error_description"] = "The user denied your request"
        else:
            account = self._chosen(query.get("sim_account"))
            code = f"ac_{self._world.ids.token('code', length=32)}"
            scope = query.get("scope", "read_only")
            self._codes[code] = Code(account.id, scope, self._world.clock.now)
            answer = {"scope": scope, "code": code, **answer}
        separator = "&" if "?" in query["redirect_uri"] else "?"
        return f"{query['redirect_uri']}{separator}{urlencode(answer)}"

    def _chosen(self, asked: str | None) -> Account:
        accounts = self._world.accounts
        if asked is not None:
            if asked not in accounts:
                raise OAuthError(400, "invalid_request", f"sim_account {asked} does not exist")
            return accounts[asked]
        oldest = self._world.clock.now - CODE_LIVES
        given = {code.account for code in self._codes.values() if not code.used and code.at >= oldest}
        for account in accounts.values():
            if not account.connected and account.id not in given:
                return account
        raise OAuthError(400, "invalid_request", "Every account of the simulation is connected")

    def check_client(self, key: str | None, secret: str | None) -> None:
        """The client proves itself by its secret key, as a parameter or a bearer token."""
        if self._secret_key not in {key, secret}:
            raise OAuthError(401, "invalid_client", "Invalid API key provided")

    def token(self, params: dict[str, str]) -> Json:
        """`POST /oauth/token` for both grant types."""
        match params.get("grant_type"):
            case "authorization_code":
                return self._by_code(params.get("code", ""))
            case "refresh_token":
                return self._by_refresh(params.get("refresh_token", ""))
            case None:
                raise OAuthError(400, "invalid_request", "No grant type specified")
            case other:
                raise OAuthError(400, "unsupported_grant_type", f"{other} is not supported")

    def _by_code(self, given: str) -> Json:
        code = self._codes.get(given)
        if code is None:
            raise OAuthError(400, "invalid_grant", f"Authorization code does not exist: {given}")
        if code.used:
            text = f"Authorization code already used: {given}. All tokens issued with this code have been revoked."
            raise OAuthError(400, "invalid_grant", text)
        if self._world.clock.now - code.at > CODE_LIVES:
            raise OAuthError(400, "invalid_grant", f"Authorization code expired: {given}")
        code.used = True
        account = self._world.accounts[code.account]
        account.connected = True
        return self._grant(account, code.scope)

    def _by_refresh(self, given: str) -> Json:
        account_id = self._refresh.get(given)
        if account_id is None or not self._world.accounts[account_id].connected:
            raise OAuthError(400, "invalid_grant", f"Refresh token does not exist: {given[:6]}****")
        return self._grant(self._world.accounts[account_id], "read_write", given)

    def _grant(self, account: Account, scope: str, refresh: str | None = None) -> Json:
        ids = self._world.ids
        access = f"sk_test_{ids.token('access', account.id)}"
        refresh = refresh or f"rt_{ids.token('refresh', account.id, 40)}"
        self.tokens[access] = account.id
        self._refresh[refresh] = account.id
        return {
            "access_token": access,
            "livemode": False,
            "refresh_token": refresh,
            "scope": scope,
            "stripe_publishable_key": f"pk_test_{ids.token('publishable', account.id)}",
            "stripe_user_id": account.id,
            "token_type": "bearer",
        }

    def deauthorize(self, params: dict[str, str]) -> Json:
        """`POST /oauth/deauthorize`: the platform gives its access up."""
        if params.get("client_id") != self._client_id:
            raise OAuthError(401, "invalid_client", "No application matches the supplied client identifier")
        account = self._world.accounts.get(params.get("stripe_user_id", ""))
        if account is None or not account.connected:
            text = "This application is not connected to stripe account " + str(params.get("stripe_user_id"))
            raise OAuthError(401, "invalid_client", text)
        self.disconnect(account)
        return {"stripe_user_id": account.id}

    def reconnect(self, account: Account, scope: str = "read_write") -> Json:
        """The merchant connects again in Stripe's pages, and is announced; the grant as the token endpoint gives it."""
        account.connected = True
        self._events.emit(account, "account.application.authorized", self._application())
        return self._grant(account, scope)

    def disconnect(self, account: Account) -> None:
        """Ends the connection, whoever asked for it, and announces it."""
        account.connected = False
        self.tokens = {token: owner for token, owner in self.tokens.items() if owner != account.id}
        self._events.emit(account, "account.application.deauthorized", self._application())

    def _application(self) -> Json:
        return {"id": self._client_id, "object": "application", "name": "The Citadel"}
