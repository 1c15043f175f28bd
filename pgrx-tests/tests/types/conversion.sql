DO $conversion$
DECLARE
    value record;
    there /*to*/;
    back /*from*/;
    outcome text;
BEGIN
    FOR value IN SELECT id, v FROM /*values*/ LOOP
        outcome := 'converted';
        BEGIN
            there := /*convert*/;
        EXCEPTION WHEN others THEN
            outcome := 'refused';
        END;
        IF outcome = 'converted' THEN
            BEGIN
                back := /*convert back*/;
                outcome := CASE WHEN /*same*/ THEN 'fits' WHEN /*blanks*/ THEN 'refused' ELSE 'altered' END;
            EXCEPTION WHEN others THEN
                outcome := 'altered';
            END;
        END IF;
        INSERT INTO outcome VALUES (value.id, outcome);
    END LOOP;
END
$conversion$
