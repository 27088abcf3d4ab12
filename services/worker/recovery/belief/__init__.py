"""What the brain believes about a declined payment, and the attempts that follow from it.

    paydays      when wages may arrive: rules of the calendar
    parts        what a belief is made of, as shares: ways to become possible, paydays, stays, banks' hours
    prior        what is believed before anything was seen, by cause and country: data, with its sources
    stories      the belief: many possible stories, each says at which times the bank would accept the payment
    groups       whom something is learned of by itself: countries, kinds of cards, amounts, networks
    doubt        what was learned, spread out over the times beside it
    beliefs      the stories for one declined payment, of the prior or of what was learned
    planning     belief → the attempts that are likeliest to collect in all, each with its chance
    learning     what a merchant's recoveries say: the belief after them, from the belief before
    customers    what one customer's own earlier recoveries say: belief → the customer's
    differences  where a merchant's customers clearly differ from the prior, in sentences
    document     what was learned, as JSON and strictly back
    kept         a bounded memory of what was worked out

A story is one way in which the payment may become possible: the wages come on the 25th and last for two days, and
the bank declines at night. Thousands of them, drawn once from the prior and weighed alike, are the belief. Each decline
rules out the stories in which the bank would have accepted. An attempt's chance is the share of stories, of those that
are left, that accept it. Pure, and the same in every process: no clock, no database; "random" draws come from fixed
seeds.
"""
