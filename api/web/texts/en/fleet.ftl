fleet-title = Slots against demand
fleet-hour = 1 hour
fleet-six-hours = 6 hours
fleet-day = 24 hours
fleet-week = 7 days
fleet-beginning = a while
fleet-ago = { $span } ago
fleet-now = now
fleet-slots = Slots
fleet-waiting = Waiting
fleet-more = There are more pools; the API has all of them under /api/v1/pools/history.
fleet-words = { $wanted ->
    [one] At most 1 job wanted a slot.
   *[other] At most { $wanted } jobs wanted a slot.
} { $now ->
    [one] Now 1 does,
   *[other] Now { $now } do,
} { $slots ->
    [one] and there is 1 slot.
   *[other] and there are { $slots } slots.
} { $short ->
    [0] There were always enough.
    [one] For 1 minute there were too few.
   *[other] For { $short } minutes there were too few.
}
