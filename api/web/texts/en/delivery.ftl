delivery-title = { $event } from { $forge }
delivery-no-builds = none
delivery-no-builds-yet = none yet
delivery-worked = Worked
delivery-tries = Tries
delivery-verified = Verified
delivery-forge-id = Forge's id
delivery-body-gone = The body is not kept any more, so this delivery cannot be replayed. Let the forge deliver it again, or build by hand on the { $page }.
delivery-body-gone-page = project's page
delivery-says = What it says
delivery-more-events = { $count ->
    [one] And 1 more.
   *[other] And { $count } more.
}
delivery-as-json = As JSON
delivery-says-as-json = What it says, as JSON
delivery-came-in = What came in
delivery-masked = As it is kept: secrets and signatures were masked before it was stored.
delivery-headers = Headers
delivery-body = Body
delivery-beginning = This is the beginning of { $size }; the API gives { $rest }.
delivery-beginning-rest = more of it
delivery-ping = The forge tries whether we listen.
delivery-unreadable = It cannot be read: { $reason }
delivery-by-hmac-sha256 = by a signature of the body (HMAC-SHA256)
delivery-by-hmac-sha1 = by a signature of the body (HMAC-SHA1)
delivery-by-standard-webhooks = by a signature of id, time and body (Standard Webhooks)
delivery-by-token = by the hook's token
delivery-by-timestamp = by a signature of the time; the body is not covered by it
delivery-by-nothing = not at all
