// Entry of every page: each module looks for its own marks in the page and does nothing without them.

import { startCopyButtons } from "./copy.js";
import { startLiveParts } from "./live.js";
import { startLogs } from "./logview.js";
import { startSearch } from "./search.js";
import { startTelling } from "./telling.js";

// First: it keeps what the server said, before others add to it.
startLiveParts(document);
startCopyButtons(document);
startLogs(document);
startSearch(document);
startTelling(document);
