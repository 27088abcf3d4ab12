"""Auth says who may do what: merchants connect and disconnect their Stripe accounts; API keys."""
