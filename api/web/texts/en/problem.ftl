# Titles are those of HTTP; what happened is told by the API, in English.
problem-bad-request = Bad Request
problem-unauthorized = Unauthorized
problem-forbidden = Forbidden
problem-not-found = Not Found
problem-conflict = Conflict
problem-gone = Gone
problem-too-large = Payload Too Large
problem-invalid = Unprocessable Entity
problem-too-many = Too Many Requests
problem-busy = Service Unavailable
problem-ours = Internal Server Error
problem-ours-what = Something broke on our side. Tell an operator the error id.
problem-id = Error id:{ " " }
problem-log-in = { $link } if you have a token; you may see more then.
