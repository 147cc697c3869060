# The way from an empty installation to the first image.
first-none = No project yet
first-what = A project is one repository whose pushes become images. Four steps lead to the first one:
first-builder = A builder
first-builder-there = { $count ->
    [one] Done: 1 builder is online.
   *[other] Done: { $count } builders are online.
}
first-builder-none = None is online yet. { $builders } says how to start one.
first-builder-link = The page of the builders
first-project = A project
first-project-client = Make one with the client:
first-project-api = The same with the API
first-docs = All routes are in { $docs }.
first-docs-link = the API documentation
first-webhook = Its webhook
first-webhook-how = What makes the project answers with the webhook's address and its secret, which is shown only then. Enter both on the forge; the project's page says where.
first-webhook-deliveries = What the forge sends from then on stands under { $deliveries }, its first ping, too.
first-app = On GitHub, { $app } needs neither token nor webhook.
first-app-link = an App
first-push = A push
first-push-how = Push a commit with a Dockerfile, or ask for a build on the project's page. The build shows up here, and its log is live from the first line.
