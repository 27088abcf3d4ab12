"""The ingress takes Stripe's events in: verified, routed, and committed before they are answered."""
