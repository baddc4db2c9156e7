# Texts of the pages in English. Every language has the same messages with the same variables.

# The title of the window.
window = { $page } – { $name }
window-error = Error: { $page } – { $name }

## Words on several pages

languages = Language
username = Username or email address
password = Password
continue = Continue
back-to-client = Back to { $client }
try-again = Try again
start-again = Start again
go-to-sign-in = Sign in
another-account = Use another account
reason = Details for the application’s developer
request-id = Request ID

## Sign-in

sign-in-title = Sign in
sign-in-client = To continue to { $client }
sign-in-again-title = Confirm that it is you
sign-in-again-text = Enter your password again to continue.
not-you = Not { $person }? Use another account
password-hint = If you have forgotten it, ask the administrators of { $name } for an enrollment link.
remember = Keep me signed in
remember-hint = Choose this only on your own device.
sign-in-submit = Sign in
sign-in-refuse = Cancel and go back to { $client }
problem-no-username = Enter your username or email address.
problem-no-password = Enter a password.
problem-wrong = The username or the password is wrong. Check both, and try again.
problem-too-many = { $minutes ->
    [one] There were too many attempts to sign in. Wait one minute, then try again.
   *[other] There were too many attempts to sign in. Wait { $minutes } minutes, then try again.
}
problem-busy = Too many people are signing in at the moment. Your password was not checked. Wait a few seconds, then try again.

## Consent

consent-title = Allow access
consent-heading = Allow { $client } to use your account?
consent-person = You are signed in as { $person }.
consent-not-you = Use another account
consent-scopes = { $client } wants to:
consent-learns = { $client } will learn about you:
consent-no-value = Not set
consent-who = Who is asking
consent-owner = This application belongs to the team { $owner }.
consent-client-id = Its client ID is { $id }.
consent-to-host = After your decision you go to { $host }.
consent-to-device = After your decision you go to an application on this device.
consent-accept = Allow
consent-refuse = Deny
scope-openid = Know that it is you
scope-profile = See your username and your name
scope-email = See your email address
scope-groups = See the groups that you belong to
scope-offline-access = Keep this access while you do not use the application
learned-username = Username
learned-name = Name
learned-email = Email address
learned-groups = Groups

## Enrollment

enrolment-title = Set a password
enrolment-person = You set the password of { $person }. The link that you opened works until you have set it.
enrolment-rules = Your password
rule-min-length = has at least { $count } characters;
rule-max-length = has at most { $count } characters;
rule-common = is not a common password, and does not contain your username;
rule-any-characters = may contain spaces and any other characters. Several words are easy to remember.
enrolment-username = Username
enrolment-password = New password
enrolment-repeated = New password again
enrolment-submit = Set the password
problem-too-short = The password is too short. Choose one with at least { $count } characters.
problem-too-long = The password is too long. Choose one with at most { $count } characters.
problem-common = This password is easy to guess. Choose another one.
problem-different = The two passwords differ. Enter the same password twice.

## Sign-out

sign-out-title = Do you want to sign out?
sign-out-person = You are signed in as { $person }.
sign-out-client = { $client } asks you to sign out.
sign-out-effect = You will be signed out of all applications that you opened with this sign-in.
sign-out-accept = Sign out
sign-out-refuse = Stay signed in
signed-out-title = You are signed out
signed-out-text = If others use this device, close the browser too.
signed-out-frames = The applications that you used are being told.
signed-out-frame = Sign-out of application { $number }

## The answer to a client

answer-title = Go back to the application
answer-to-host = You go to { $host }. If nothing happens, press the button.
answer-to-device = You go to an application on this device. If nothing happens, press the button.

## What happened, and what to do

invalid-request-title = The request is not valid
invalid-request-text = The application sent you here with a request that this server cannot accept. You did nothing wrong.
invalid-request-do = Go back to the application and try again. If this happens again, send the request ID to the people who run the application.
unknown-client-title = The application is not known
unknown-client-text = The application that sent you here is not registered with this server, or is disabled.
unknown-client-do = Check the address of the application. If it is right, send the request ID to the people who run the application.
unknown-redirect-title = The return address is not registered
unknown-redirect-text = The application asked this server to send you to an address that is not registered for it. To protect you, you stay here.
unknown-redirect-do = Open the application from a bookmark or a page that you trust. If this happens again, send the request ID to the people who run the application.
not-allowed-title = You may not use this application
not-allowed-text = Your account has no access to { $client }.
not-allowed-do = Use another account, or ask an administrator for access.
flow-expired-title = This sign-in has expired
flow-expired-text = The page was open for too long. To protect you, a sign-in ends after some minutes.
flow-expired-do = Start again. Nothing is lost.
other-browser-title = This sign-in began elsewhere
other-browser-text = This sign-in was begun in another browser or in a private window. To protect you, it can be finished only there.
other-browser-do = Continue in the other browser, or start again in this one.
no-cookies-title = Your browser sent no cookie
no-cookies-text = Signing in needs a cookie, which your browser did not send. It may block cookies.
no-cookies-do = Allow cookies for this site, then start again.
form-refused-title = The form was not accepted
form-refused-text = The form was made for another session, or its page was open for too long. Nothing was changed.
form-refused-do = Start again, and send the form from the new page.
too-many-title = Too many attempts
too-many-text = { $minutes ->
    [one] There were too many attempts from your network or for this account. You can try again in one minute.
   *[other] There were too many attempts from your network or for this account. You can try again in { $minutes } minutes.
}
too-many-do = Wait, then try again. You need not do anything else: the limit ends by itself.
busy-title = The server is busy
busy-text = The server has more requests than it can answer. Nothing was changed.
busy-do = Wait a few seconds, then try again.
store-title = Signing in is not possible at the moment
store-text = The server cannot reach its database of accounts. You did nothing wrong, and nothing was changed.
store-do = Try again in a minute. If this happens again, send the request ID to an administrator.
link-expired-title = This link has expired
link-expired-text = The link to set a password has expired, or a newer link has replaced it.
link-used-title = This link was used
link-used-text = A password has been set with this link. A link works once.
link-used-do = Sign in with your password. If you did not set it, tell an administrator at once.
link-unknown-title = This link is not valid
link-unknown-text = The link is not complete, or it was not made by this server.
link-do = Check that you opened the whole link, or ask an administrator for a new one.
not-found-title = This page does not exist
not-found-text = There is nothing at this address.
not-found-do = Check the address, or open your application again.
method-title = This page cannot be opened like this
method-text = The address is only for forms or for programs.
method-do = Open your application again, and continue from there.
no-sign-in-title = No people sign in here
no-sign-in-text = This server issues tokens to programs only.
no-sign-in-do = Check the address of the application. If it is right, send the request ID to the people who run the application.
too-large-title = The request is too large
too-large-text = The application sent you here with a request that is larger than this server accepts. You did nothing wrong.
too-large-do = Go back to the application and try again. If this happens again, send the request ID to the people who run the application.
internal-title = Something went wrong
internal-text = The server made an error. You did nothing wrong.
internal-do = Try again. If this happens again, send the request ID to an administrator.
signed-in-title = You are signed in
signed-in-text = You are signed in as { $person }.
signed-in-do = Open an application. It signs you in without asking for your password.
already-title = You are signed in already
already-text = You are signed in as { $person }. The form was sent twice, or you went back to an earlier page.
already-do = Nothing is wrong. Go on to the application.
password-set-title = The password is set
password-set-text = You can now sign in as { $person } with the new password.
password-set-do = The link that you opened does not work any more.
stays-title = You are still signed in
stays-text = You stay signed in as { $person }.
stays-do = Nothing was changed.
