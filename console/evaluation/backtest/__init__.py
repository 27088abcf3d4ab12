"""What a policy would have done about a merchant's own past failures, compared with what happened."""
