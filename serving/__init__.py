"""The serving room: answers requests, splits traffic, records predictions and labels.

One Ray Serve application of three generic deployments. `FrontDoor` takes the HTTP request and answers it with the
stable versions in its own process; `Candidate` answers canary calls behind a bounded handle; `Shadow` scores copies at
low priority. All of them follow the route tables of the controller; a new version of a model redeploys nothing.

It never reads the database and never decides anything: which version answers whom is what the newest route table says.
It never executes code from a package (graphs only) and never imports `controller` or `monitors`.
"""
