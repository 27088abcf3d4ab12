"""What the production stack (`deploy/compose`) needs of our code beside the services.

python -m services.compose up [--simulator]      secrets, images, containers, health; `make up`
python -m services.compose down [--volumes]      `make down`
python -m services.compose key NAME              a key for the ledger's API; `make key NAME=…`
python -m services.compose migrate               in a container: the schema, and a login for each service
"""
