"""Commands for the production stack (`deploy/compose`), beside the services themselves.

python -m console.compose up [--simulator]      secrets, images, containers, health; `make up`
python -m console.compose down [--volumes]      `make down`
python -m console.compose key NAME              a key for the ledger's API; `make key NAME=…`
python -m console.compose migrate               in a container: the schema, and a login for each service
"""
